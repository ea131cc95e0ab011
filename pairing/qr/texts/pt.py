"""Portuguese."""

from pairing.qr.texts import Texts

TEXTS = Texts(
    new_photo="Por favor, tire uma nova foto da tela.",
    sentences={
        "photo-format": "Não consigo abrir este arquivo. Envie uma foto, não um vídeo nem um"
        " documento.",
        "photo-too-large": "Esta foto é grande demais. Envie em qualidade normal, não como"
        " documento.",
        "photo-worker": "Não consigo abrir esta foto. Envie em qualidade normal.",
        "photo-no-code": "Não vejo nenhum código quadrado na foto. Fotografe a tela inteira de"
        " frente e de perto, nítida e sem reflexos.",
        "photo-unreadable": "Vejo o código, mas não consigo lê-lo. Aproxime-se, segure o telefone"
        " firme e reto e evite reflexos.",
        "photo-blurred": "A foto está borrada. Segure o telefone firme com as duas mãos, toque no"
        " código na tela do telefone para focar e tire de novo.",
        "photo-too-small": "O código está pequeno demais na foto. Aproxime-se até que ele ocupe a"
        " metade da imagem.",
        "photo-glare": "Uma luz se reflete {where} do código. Tire a foto um pouco mais de lado ou"
        " apague essa luz.",
        "photo-cut-off": "O código está cortado {where}. Tire uma foto com o código inteiro e algum"
        " espaço em volta.",
        "photo-too-flat": "A foto foi tirada muito de lado. Fique bem em frente à tela e tire de"
        " novo.",
        "photo-foreign": "Este é outro código. Fotografe o código na tela da máquina nova.",
        "photo-several": "A foto mostra várias máquinas. Envie uma foto de cada uma.",
        "token-spent": "Este código não é mais válido. Tire uma nova foto da tela.",
        "node-restarted": "A máquina foi reiniciada e agora mostra outro código. Tire uma nova foto"
        " da tela.",
        "unreachable": "Não consigo alcançar a máquina. Verifique se ela está ligada e com o cabo"
        " de rede conectado e tire uma nova foto.",
    },
    places={
        "top left": "no alto à esquerda",
        "top": "na parte de cima",
        "top right": "no alto à direita",
        "left": "à esquerda",
        "middle": "no meio",
        "right": "à direita",
        "bottom left": "embaixo à esquerda",
        "bottom": "na parte de baixo",
        "bottom right": "embaixo à direita",
    },
    labels={
        "read": "lido",
        "seen": "visto, não lido",
        "photo-unreadable": "ilegível",
        "photo-blurred": "borrado",
        "photo-too-small": "pequeno demais",
        "photo-glare": "reflexo",
        "photo-cut-off": "cortado",
        "photo-too-flat": "ângulo muito fechado",
        "photo-foreign": "outro código",
        "photo-no-code": "nenhum código",
    },
)
