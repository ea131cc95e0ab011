"""The screen in French."""

from node.texts import Texts
from pairing.events import State

TEXTS = Texts(
    states={
        State.WAITING: "Photographiez cet écran et envoyez la photo",
        State.CLAIMED: "Photo reçue. Veuillez patienter",
        State.APPROVED: "Machine acceptée. Veuillez patienter",
        State.REFUSED: "Installation refusée. Appelez votre contact",
        State.PLANNED: "L'installation commence bientôt",
        State.INSTALLING: "Installation en cours. Veuillez patienter",
        State.WRITTEN: "Terminé. Le disque est prêt",
        State.REBOOTING: "La machine redémarre",
        State.INSTALLED: "Terminé. La machine est installée",
        State.JOINED: "Terminé. La machine est connectée",
        State.READY: "Terminé. La machine est prête",
        State.LOCKED: "Machine verrouillée. Appelez et lisez le code",
        State.FAILED: "Échec de l'installation. Appelez, lisez le code",
    },
    keep_on="N'éteignez pas la machine",
    may_switch_off="Vous pouvez éteindre la machine",
    abort="Pas prévu ? Éteignez avant {seconds} secondes",
    step="Étape {number} sur {steps}",
    steps={
        "check-image": "Vérification du nouveau système",
        "check-disk": "Vérification du disque",
        "escrow-key": "Remise de la clé de secours",
        "wipe-tables": "Effacement du disque",
        "write-disk": "Copie du système sur le disque",
        "bind-tang": "Préparation du déverrouillage automatique",
        "prove-key": "Test de la clé de secours",
        "boot-entries": "Réglage du démarrage de la machine",
        "mark-complete": "Fin de l'installation",
    },
    read_aloud="Lisez ce code à haute voix",
    compare="Comparez ces mots",
    rehearsal="Essai : le disque n'est pas modifié",
    rehearsed="Essai terminé. Rien n'a été modifié",
    too_small="Cet écran est trop petit pour le code",
    machine="Machine",
    operator="Opérateur",
    serial="N° série",
    address="Adresse",
    no_address="pas encore de réseau",
    relay="Relais",
    repair="Réparation à distance par",
)
