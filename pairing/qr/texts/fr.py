"""French."""

from pairing.qr.texts import Texts

TEXTS = Texts(
    new_photo="Merci de prendre une nouvelle photo de l'écran.",
    sentences={
        "photo-format": "Je ne peux pas ouvrir ce fichier. Envoyez une photo, ni vidéo ni"
        " document.",
        "photo-too-large": "Cette photo est trop grande. Envoyez-la en qualité normale, pas comme"
        " document.",
        "photo-worker": "Je ne peux pas ouvrir cette photo. Envoyez-la en qualité normale.",
        "photo-no-code": "Je ne vois pas de code carré sur la photo. Photographiez tout l'écran"
        " bien de face et de près, net et sans reflets.",
        "photo-unreadable": "Je vois le code mais ne peux pas le lire. Approchez-vous, tenez le"
        " téléphone droit et immobile, et évitez les reflets.",
        "photo-blurred": "La photo est floue. Tenez le téléphone immobile à deux mains, touchez le"
        " code à l'écran du téléphone pour faire la netteté, puis recommencez.",
        "photo-too-small": "Le code est trop petit sur la photo. Approchez-vous jusqu'à ce que le"
        " code remplisse la moitié de l'image.",
        "photo-glare": "Une lumière se reflète {where} du code. Prenez la photo un peu plus de côté"
        " ou éteignez cette lumière.",
        "photo-cut-off": "Le code est coupé {where}. Prenez une photo avec le code entier et un peu"
        " d'espace autour.",
        "photo-too-flat": "La photo a été prise trop de côté. Placez-vous bien en face de l'écran"
        " et recommencez.",
        "photo-foreign": "C'est un autre code. Photographiez le code sur l'écran de la nouvelle"
        " machine.",
        "photo-several": "La photo montre plusieurs machines. Envoyez une photo de chacune.",
        "token-spent": "Ce code n'est plus valable. Prenez une nouvelle photo de l'écran.",
        "node-restarted": "La machine a redémarré et affiche maintenant un autre code. Prenez une"
        " nouvelle photo de l'écran.",
        "unreachable": "Je ne peux pas joindre la machine. Vérifiez qu'elle est allumée et que le"
        " câble réseau est branché, puis prenez une nouvelle photo.",
    },
    places={
        "top left": "en haut à gauche",
        "top": "en haut",
        "top right": "en haut à droite",
        "left": "à gauche",
        "middle": "au milieu",
        "right": "à droite",
        "bottom left": "en bas à gauche",
        "bottom": "en bas",
        "bottom right": "en bas à droite",
    },
    labels={
        "read": "lu",
        "seen": "vu, pas lu",
        "photo-unreadable": "illisible",
        "photo-blurred": "flou",
        "photo-too-small": "trop petit",
        "photo-glare": "reflet",
        "photo-cut-off": "coupé",
        "photo-too-flat": "angle trop rasant",
        "photo-foreign": "autre code",
        "photo-no-code": "aucun code",
    },
)
