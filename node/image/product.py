"""What is ours in the root tree, beside the program: settings, units, what is left out and masked.

The root is read-only, `/etc` an overlay in memory, `/var` in memory (docs/node.md).
"""

from __future__ import annotations

import configparser
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from node.image.layers import Layer
from node.image.python import HOME, TOP
from node.image.recipe import Recipe

ARCH = "x86_64"
OURS = "usr/lib/kairos-register"
IMAGE_JSON: Mapping[str, str] = {
    "schema": "1",
    "id": "the recipe's `id`",
    "version": "the recipe's `version`",
    "arch": "as `uname -m` says it",
    "flavour": "the recipe's `flavour`",
    "secure_boot": "the recipe's `secure_boot`: what the boot files are signed for",
    "tries": "the recipe's `tries`: how often this version starts the one after it on trial",
}
"""What `image.json` holds, for people."""
UNITS = TOP / "node/units"
LEFT_OUT = (
    # Never seen: the kernel lives in the UKI, `/var` and `/dev` are made at each boot.
    "boot/",
    "dev/",
    "var/",
    # Keys that two machines must never share.
    "etc/ssh/ssh_host_",
    # Of no use on a machine without a person.
    "usr/lib/udev/hwdb.d/",
    "usr/lib/x86_64-linux-gnu/gconv/",
    "usr/share/bash-completion/",
    "usr/share/info/",
    "usr/share/lintian/",
    "usr/share/zsh/",
)
PERSISTENT = (
    "/etc/cni",
    "/etc/rancher",
    "/home",
    "/opt/cni",
    "/root",
    "/var/lib/containerd",
    "/var/lib/kairos-relay",
    "/var/lib/kubelet",
    "/var/lib/rancher",
    "/var/log",
)
"""Kept over restarts on the persistent volume, beside what a recipe adds."""
LINKS = (
    "fs.protected_hardlinks = 1\nfs.protected_symlinks = 1\n"
    "fs.protected_fifos = 1\nfs.protected_regular = 2\n"
)
"""sysctl.d(5): the kernel's default is none of it, and Debian's a package that is not here."""
RESOLVED = "[Resolve]\nLLMNR=no\nMulticastDNS=no\n"
"""Else it answers on the network (port 5355, also TCP); what is announced there is the agent's."""
ENABLED = {
    "multi-user.target.wants": ("systemd-networkd.service",),
    "sockets.target.wants": ("systemd-networkd.socket",),
    "sysinit.target.wants": ("systemd-resolved.service", "systemd-timesyncd.service"),
}
STANDARD_ONLY = (
    "k3s-agent.service",
    "k3s.service",
    "kairos-mdns.service",
    "kairos-relay.service",
)
"""Units that only the flavour `standard` has."""
MASKED = (
    # `/var` is empty at each boot: all this would be done again each time, for nothing.
    "dpkg-db-backup.timer",
    "ldconfig.service",
    "systemd-firstboot.service",
    "systemd-hwdb-update.service",
    "systemd-journal-catalog-update.service",
    "systemd-random-seed.service",
    "systemd-sysusers.service",
    "systemd-update-done.service",
    # A network's state on storage that is not there, rules for udev from a hypervisor, and what a
    # container asks for itself.
    "proc-sys-fs-binfmt_misc.automount",
    "systemd-hibernate-clear.service",
    "systemd-networkd-persistent-storage.service",
    "systemd-udev-load-credentials.service",
    # The installer runs it, on a disk that was released.
    "systemd-repart.service",
    # Loaded where they are used.
    "modprobe@drm.service",
    "modprobe@fuse.service",
    "sys-fs-fuse-connections.mount",
    # The root changes by upgrades only.
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    # The consoles are ours; a seed on a read-only stick fails.
    "getty-static.service",
    "getty@tty1.service",
    "systemd-ask-password-console.path",
    "systemd-ask-password-wall.path",
    "systemd-boot-random-seed.service",
    # PCR 15 has to be empty until the volumes are open (`node.plan.encrypt`).
    "systemd-pcrfs-root.service",
    "systemd-pcrfs@.service",
    "systemd-pcrmachine.service",
)
MASKED_GENERATORS = (
    "systemd-cryptsetup-generator",
    "systemd-getty-generator",
    "systemd-hibernate-resume-generator",
    "systemd-import-generator",
    "systemd-integritysetup-generator",
    "systemd-rc-local-generator",
    "systemd-ssh-generator",
    "systemd-system-update-generator",
    "systemd-sysv-generator",
)
"""They look for what no node has: crypttab, swap to resume from, init scripts. Each costs time."""


def layer(
    recipe: Recipe,
    pcr_key: bytes,
    update_key: bytes,
    programs: Mapping[str, Path] | None = None,
) -> Layer:
    """The files of one version. Keys: public ones, of PCR policies (PEM) and of updates (OpenPGP).
    `programs`: fetched ones, by their place in the image.

    Raises OSError for a source file of the recipe that is not there.
    """
    made = Layer()
    _identity(made, recipe)
    # JSON is YAML.
    made.file("etc/kairos-register/node.yaml", json.dumps(settings_of(recipe), indent=1) + "\n")
    _units(made, recipe.flavour)
    if pcr_key:
        made.file(f"{OURS}/pcr.pub", pcr_key)
    if update_key:
        made.file("usr/lib/systemd/import-pubring.gpg", update_key)
    for program, path in (programs or {}).items():
        made.file(program, path.read_bytes(), 0o755)
    for item in recipe.files:
        content = recipe.place(item.source).read_bytes() if item.source else item.content
        made.file(item.path, content, item.mode)
    return made


def os_release(recipe: Recipe, image_id: str) -> str:
    """os-release(5): which image this is. systemd-boot sorts by it."""
    name = f"{recipe.id} {recipe.version}"
    return (
        f'PRETTY_NAME="{name}"\nNAME="{recipe.id}"\nID=debian\nIMAGE_ID={image_id}\n'
        f"IMAGE_VERSION={recipe.version}\nVERSION_ID={recipe.version}\n"
    )


def described(recipe: Recipe) -> dict[str, object]:
    """What `image.json` says of an image."""
    return {
        "schema": 1,
        "id": recipe.id,
        "version": recipe.version,
        "arch": ARCH,
        "flavour": recipe.flavour,
        "secure_boot": recipe.secure_boot,
        "tries": recipe.tries,
    }


def _identity(made: Layer, recipe: Recipe) -> None:
    made.file("usr/lib/os-release", os_release(recipe, "kr"))
    made.link("etc/os-release", "../usr/lib/os-release")
    made.file("etc/hostname", "kairos\n")
    made.file("etc/machine-id", "")
    made.file("etc/fstab", "")
    # Where shells look, and sudo, which has a path of its own.
    made.link("usr/bin/kairos-node", f"/{HOME}/bin/kairos-node")
    made.link("etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf")
    made.file(f"{OURS}/image.json", json.dumps(described(recipe), indent=1) + "\n")
    made.file("etc/systemd/resolved.conf.d/10-quiet.conf", RESOLVED)
    made.file("usr/lib/sysctl.d/10-links.conf", LINKS)
    paths = sorted({*PERSISTENT, *recipe.persistent})
    made.file(f"{OURS}/persistent.conf", "".join(f"{path}\n" for path in paths))
    for path in ("oem", "boot", "usr/local", f"{OURS}/providers.d", *paths):
        if not path.startswith("/var"):
            made.folder(path.strip("/"), 0o700 if path == "/root" else 0o755)


def settings_of(recipe: Recipe) -> dict[str, object]:
    """What `node.settings` reads on the machine."""
    body: dict[str, object] = {"language": recipe.language}
    if recipe.fleets:
        body["fleets"] = [{"key": key} for key in recipe.fleets]
    if recipe.relays:
        body["relays"] = list(recipe.relays)
    if recipe.token != "native":
        body["token"] = recipe.token
        body["bootstrap"] = list(recipe.bootstrap)
    return body


def _units(made: Layer, flavour: str) -> None:
    for entry in sorted(UNITS.iterdir()):
        if flavour == "core" and entry.name in STANDARD_ONLY:
            continue
        if entry.is_dir():
            made.tree(entry, f"usr/lib/systemd/system/{entry.name}")
            continue
        kind = "network" if entry.suffix == ".network" else "system"
        made.file(f"usr/lib/systemd/{kind}/{entry.name}", entry.read_bytes())
    for target, units in _wanted().items():
        for unit in units:
            made.link(f"etc/systemd/system/{target}/{unit}", f"/usr/lib/systemd/system/{unit}")
    for unit in MASKED:
        made.link(f"etc/systemd/system/{unit}", "/dev/null")
    for generator in MASKED_GENERATORS:
        made.link(f"etc/systemd/system-generators/{generator}", "/dev/null")


def _wanted() -> Mapping[str, list[str]]:
    """The links that `systemctl enable` would make for our units, and those of systemd's own."""
    found: dict[str, list[str]] = {target: list(units) for target, units in ENABLED.items()}
    for unit, kind, target in _installs():
        found.setdefault(f"{target}.{kind}", []).append(unit)
    return found


def _installs() -> Iterator[tuple[str, str, str]]:
    """Unit, `wants` or `requires`, and the unit that is to want it: systemd.unit(5), [Install]."""
    for entry in sorted(UNITS.iterdir()):
        if entry.is_dir():
            continue
        unit = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
        unit.optionxform = str  # type: ignore[assignment,method-assign]
        unit.read(entry, encoding="utf-8")
        for key, kind in (("WantedBy", "wants"), ("RequiredBy", "requires")):
            for target in unit.get("Install", key, fallback="").split():
                yield entry.name, kind, target
