"""Clusters that an installed machine joins, behind one interface (`node.providers.base`)."""
