"""What to tell the person who took the photo: one or two sentences to send back, per language.

For the operator there are the errors' own sentences and hints; this is for a shop's manager, who
knows nothing of codes and tokens.
"""

from __future__ import annotations

from pairing import errors
from pairing.language import DEFAULT, LANGUAGES, language

__all__ = ["LANGUAGES", "advice"]

_NEW_PHOTO = {
    "en": "Please take a new photo of the screen.",
    "es": "Por favor, haga una nueva foto de la pantalla.",
    "fr": "Merci de prendre une nouvelle photo de l'écran.",
    "de": "Bitte machen Sie ein neues Foto vom Bildschirm.",
    "pt": "Por favor, tire uma nova foto da tela.",
}

_ADVICE: dict[type[errors.KnownError], dict[str, str]] = {
    errors.NotAPicture: {
        "en": "I cannot open this file. Please send an ordinary photo, not a video or a document.",
        "es": "No puedo abrir este archivo. Envíe una foto normal, no un vídeo ni un documento.",
        "fr": "Je ne peux pas ouvrir ce fichier. Envoyez une photo, ni vidéo ni document.",
        "de": "Ich kann diese Datei nicht öffnen. Bitte ein Foto senden, kein Video oder Dokument.",
        "pt": "Não consigo abrir este arquivo. Envie uma foto, não um vídeo nem um documento.",
    },
    errors.PictureTooLarge: {
        "en": "This photo is too large. Please send it in normal quality, not as a document.",
        "es": "Esta foto es demasiado grande. Envíela en calidad normal, no como documento.",
        "fr": "Cette photo est trop grande. Envoyez-la en qualité normale, pas comme document.",
        "de": "Dieses Foto ist zu groß. Bitte in normaler Qualität senden, nicht als Dokument.",
        "pt": "Esta foto é grande demais. Envie em qualidade normal, não como documento.",
    },
    errors.PhotoWorkerFailed: {
        "en": "I cannot open this photo. Please send it in normal quality.",
        "es": "No puedo abrir esta foto. Envíela en calidad normal.",
        "fr": "Je ne peux pas ouvrir cette photo. Envoyez-la en qualité normale.",
        "de": "Ich kann dieses Foto nicht öffnen. Bitte in normaler Qualität senden.",
        "pt": "Não consigo abrir esta foto. Envie em qualidade normal.",
    },
    errors.NoCodeFound: {
        "en": "I see no square code in this photo. Please photograph the whole screen, "
        "sharp and without reflections.",
        "es": "No veo ningún código cuadrado en la foto. Fotografíe toda la pantalla, "
        "nítida y sin reflejos.",
        "fr": "Je ne vois pas de code carré sur la photo. Photographiez tout l'écran, "
        "net et sans reflets.",
        "de": "Auf dem Foto ist kein quadratischer Code zu sehen. Bitte den ganzen Bildschirm "
        "fotografieren, scharf und ohne Spiegelungen.",
        "pt": "Não vejo nenhum código quadrado na foto. Fotografe a tela inteira, "
        "nítida e sem reflexos.",
    },
    errors.CodeUnreadable: {
        "en": "I see the code but cannot read it. Please go closer, hold the phone still and "
        "straight, and avoid reflections.",
        "es": "Veo el código, pero no puedo leerlo. Acérquese, sujete el teléfono quieto y recto, "
        "y evite reflejos.",
        "fr": "Je vois le code mais ne peux pas le lire. Approchez-vous, tenez le téléphone droit "
        "et immobile, et évitez les reflets.",
        "de": "Der Code ist zu sehen, aber nicht lesbar. Bitte näher herangehen, das Telefon ruhig "
        "und gerade halten und Spiegelungen vermeiden.",
        "pt": "Vejo o código, mas não consigo lê-lo. Aproxime-se, segure o telefone firme e reto "
        "e evite reflexos.",
    },
    errors.ForeignCode: {
        "en": "This is another code. Please photograph the code on the new machine's own screen.",
        "es": "Este es otro código. Fotografíe el código de la pantalla del equipo nuevo.",
        "fr": "C'est un autre code. Photographiez le code sur l'écran de la nouvelle machine.",
        "de": "Das ist ein anderer Code. Bitte den Code auf dem Bildschirm des neuen Geräts "
        "fotografieren.",
        "pt": "Este é outro código. Fotografe o código na tela da máquina nova.",
    },
    errors.SeveralTokens: {
        "en": "This photo shows several machines. Please send one photo for each.",
        "es": "La foto muestra varios equipos. Envíe una foto de cada uno.",
        "fr": "La photo montre plusieurs machines. Envoyez une photo de chacune.",
        "de": "Das Foto zeigt mehrere Geräte. Bitte von jedem ein eigenes Foto senden.",
        "pt": "A foto mostra várias máquinas. Envie uma foto de cada uma.",
    },
    errors.TokenSpent: {
        "en": "This code is no longer valid. Please take a new photo of the screen.",
        "es": "Este código ya no es válido. Haga una nueva foto de la pantalla.",
        "fr": "Ce code n'est plus valable. Prenez une nouvelle photo de l'écran.",
        "de": "Dieser Code gilt nicht mehr. Bitte ein neues Foto vom Bildschirm machen.",
        "pt": "Este código não é mais válido. Tire uma nova foto da tela.",
    },
    errors.UnreachableError: {
        "en": "I cannot reach the machine. Please check that it is on and its network cable is "
        "plugged in, then take a new photo.",
        "es": "No consigo conectar con el equipo. Compruebe que está encendido y con el cable de "
        "red conectado, y haga una nueva foto.",
        "fr": "Je ne peux pas joindre la machine. Vérifiez qu'elle est allumée et que le câble "
        "réseau est branché, puis prenez une nouvelle photo.",
        "de": "Das Gerät ist nicht erreichbar. Bitte prüfen, ob es eingeschaltet ist und das "
        "Netzwerkkabel steckt, dann ein neues Foto machen.",
        "pt": "Não consigo alcançar a máquina. Verifique se ela está ligada e com o cabo de rede "
        "conectado e tire uma nova foto.",
    },
}


def advice(error: errors.KnownError, wish: str = DEFAULT) -> str:
    """What to send back to the photographer after `error`, in the language of `wish`."""
    if isinstance(error, errors.NodeRestarted):
        return _NEW_PHOTO[language(wish)]  # it can be reached: its code is what changed
    for kind in type(error).__mro__:
        if kind in _ADVICE:
            return _ADVICE[kind][language(wish)]
    return _NEW_PHOTO[language(wish)]
