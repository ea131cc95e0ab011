"""The screen in Spanish."""

from node.texts import Texts
from pairing.events import State

TEXTS = Texts(
    states={
        State.WAITING: "Fotografíe esta pantalla y envíe la foto",
        State.CLAIMED: "Foto recibida. Espere, por favor",
        State.APPROVED: "Equipo aceptado. Espere, por favor",
        State.REFUSED: "Instalación rechazada. Llame a su contacto",
        State.PLANNED: "La instalación empieza pronto",
        State.INSTALLING: "Instalación en curso. Espere, por favor",
        State.WRITTEN: "Listo. El disco está preparado",
        State.REBOOTING: "El equipo se reinicia ahora",
        State.INSTALLED: "Listo. El equipo está instalado",
        State.JOINED: "Listo. El equipo está conectado",
        State.READY: "Listo. El equipo está preparado",
        State.LOCKED: "Equipo bloqueado. Llame y lea el código",
        State.FAILED: "Instalación fallida. Llame y lea el código",
    },
    keep_on="No apague el equipo",
    may_switch_off="Ya puede apagar el equipo",
    abort="¿No lo esperaba? Apague antes de {seconds} segundos",
    step="Paso {number} de {steps}",
    steps={
        "check-image": "Comprobando el sistema nuevo",
        "check-disk": "Comprobando el disco",
        "escrow-key": "Entregando la clave de recuperación",
        "wipe-tables": "Vaciando el disco",
        "write-disk": "Copiando el sistema al disco",
        "bind-tang": "Preparando el desbloqueo automático",
        "prove-key": "Probando la clave de recuperación",
        "boot-entries": "Configurando el arranque del equipo",
        "mark-complete": "Finalizando la instalación",
    },
    read_aloud="Lea este código en voz alta",
    compare="Compare estas palabras",
    rehearsal="Ensayo: el disco no se modifica",
    rehearsed="Ensayo terminado. No se ha modificado nada",
    too_small="Esta pantalla es pequeña para el código",
    machine="Equipo",
    operator="Operador",
    serial="N.º serie",
    address="Dirección",
    no_address="aún sin red",
    relay="Relé",
    repair="Reparación a distancia por",
)
