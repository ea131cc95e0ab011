"""Spanish."""

from pairing.qr.texts import Texts

TEXTS = Texts(
    new_photo="Por favor, haga una nueva foto de la pantalla.",
    sentences={
        "photo-format": "No puedo abrir este archivo. Envíe una foto normal, no un vídeo ni un"
        " documento.",
        "photo-too-large": "Esta foto es demasiado grande. Envíela en calidad normal, no como"
        " documento.",
        "photo-worker": "No puedo abrir esta foto. Envíela en calidad normal.",
        "photo-no-code": "No veo ningún código cuadrado en la foto. Fotografíe toda la pantalla"
        " de frente y de cerca, nítida y sin reflejos.",
        "photo-unreadable": "Veo el código, pero no puedo leerlo. Acérquese, sujete el teléfono"
        " quieto y recto, y evite reflejos.",
        "photo-blurred": "La foto está borrosa. Sujete el teléfono quieto con las dos manos, toque"
        " el código en la pantalla del teléfono para enfocarlo y repita la foto.",
        "photo-too-small": "El código sale demasiado pequeño. Acérquese hasta que ocupe la mitad de"
        " la foto.",
        "photo-glare": "Hay un reflejo de luz {where} del código. Haga la foto un poco más de lado"
        " o apague esa luz.",
        "photo-cut-off": "El código sale cortado {where}. Haga una foto con el código entero y algo"
        " de espacio alrededor.",
        "photo-too-flat": "La foto está hecha demasiado de lado. Póngase justo delante de la"
        " pantalla y repítala.",
        "photo-foreign": "Este es otro código. Fotografíe el código de la pantalla del equipo"
        " nuevo.",
        "photo-several": "La foto muestra varios equipos. Envíe una foto de cada uno.",
        "token-spent": "Este código ya no es válido. Haga una nueva foto de la pantalla.",
        "node-restarted": "El equipo se ha reiniciado y ahora muestra otro código. Haga una nueva"
        " foto de la pantalla.",
        "unreachable": "No consigo conectar con el equipo. Compruebe que está encendido y con el"
        " cable de red conectado, y haga una nueva foto.",
    },
    places={
        "top left": "arriba a la izquierda",
        "top": "en la parte de arriba",
        "top right": "arriba a la derecha",
        "left": "a la izquierda",
        "middle": "en el centro",
        "right": "a la derecha",
        "bottom left": "abajo a la izquierda",
        "bottom": "en la parte de abajo",
        "bottom right": "abajo a la derecha",
    },
    labels={
        "read": "leído",
        "seen": "visto, no leído",
        "photo-unreadable": "ilegible",
        "photo-blurred": "borroso",
        "photo-too-small": "demasiado pequeño",
        "photo-glare": "reflejo",
        "photo-cut-off": "cortado",
        "photo-too-flat": "ángulo demasiado cerrado",
        "photo-foreign": "otro código",
        "photo-no-code": "ningún código",
    },
)
