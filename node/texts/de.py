"""The screen in German."""

from node.texts import Texts
from pairing.events import State

TEXTS = Texts(
    states={
        State.WAITING: "Diesen Bildschirm fotografieren und das Foto senden",
        State.CLAIMED: "Foto angekommen. Bitte warten",
        State.APPROVED: "Gerät angenommen. Bitte warten",
        State.REFUSED: "Installation abgelehnt. Bitte Ansprechpartner anrufen",
        State.PLANNED: "Die Installation beginnt gleich",
        State.INSTALLING: "Installation läuft. Bitte warten",
        State.WRITTEN: "Fertig. Die Festplatte ist bereit",
        State.REBOOTING: "Das Gerät startet neu",
        State.INSTALLED: "Fertig. Das Gerät ist installiert",
        State.JOINED: "Fertig. Das Gerät ist verbunden",
        State.READY: "Fertig. Das Gerät ist bereit",
        State.LOCKED: "Gerät gesperrt. Anrufen und Code vorlesen",
        State.FAILED: "Installation gescheitert. Anrufen und Code vorlesen",
    },
    keep_on="Nicht ausschalten",
    may_switch_off="Sie dürfen ausschalten",
    abort="Nicht erwartet? Innerhalb von {seconds} Sekunden ausschalten",
    step="Schritt {number} von {steps}",
    steps={
        "check-image": "Das neue System wird geprüft",
        "check-disk": "Die Festplatte wird geprüft",
        "escrow-key": "Der Notfallschlüssel wird übergeben",
        "wipe-tables": "Die Festplatte wird geleert",
        "write-disk": "Das System wird auf die Festplatte kopiert",
        "bind-tang": "Das automatische Entsperren wird eingerichtet",
        "prove-key": "Der Notfallschlüssel wird getestet",
        "boot-entries": "Der Start des Geräts wird eingestellt",
        "mark-complete": "Die Installation wird abgeschlossen",
    },
    read_aloud="Diesen Code laut vorlesen",
    compare="Diese Wörter vergleichen",
    rehearsal="Probe: Die Festplatte wird nicht verändert",
    rehearsed="Probe beendet. Nichts wurde verändert",
    too_small="Dieser Bildschirm ist zu klein für den Code",
    machine="Gerät",
    operator="Betreuer",
    serial="Seriennr.",
    address="Adresse",
    no_address="noch kein Netz",
    relay="Relais",
    repair="Fernwartung durch",
)
