"""The photo inbox: a folder into which a mail program or a messenger drops photos."""
