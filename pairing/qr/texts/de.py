"""German."""

from pairing.qr.texts import Texts

TEXTS = Texts(
    new_photo="Bitte machen Sie ein neues Foto vom Bildschirm.",
    sentences={
        "photo-format": "Ich kann diese Datei nicht öffnen. Bitte ein Foto senden, kein Video oder"
        " Dokument.",
        "photo-too-large": "Dieses Foto ist zu groß. Bitte in normaler Qualität senden, nicht als"
        " Dokument.",
        "photo-worker": "Ich kann dieses Foto nicht öffnen. Bitte in normaler Qualität senden.",
        "photo-no-code": "Auf dem Foto ist kein quadratischer Code zu sehen. Bitte den ganzen"
        " Bildschirm gerade von vorn und aus der Nähe fotografieren, scharf und ohne Spiegelungen.",
        "photo-unreadable": "Der Code ist zu sehen, aber nicht lesbar. Bitte näher herangehen, das"
        " Telefon ruhig und gerade halten und Spiegelungen vermeiden.",
        "photo-blurred": "Das Foto ist unscharf. Bitte das Telefon mit beiden Händen ruhig halten,"
        " zum Scharfstellen auf den Code tippen und noch einmal aufnehmen.",
        "photo-too-small": "Der Code ist auf dem Foto zu klein. Bitte näher herangehen, bis er das"
        " halbe Bild ausfüllt.",
        "photo-glare": "Im Code spiegelt sich {where} ein Licht. Bitte etwas weiter von der Seite"
        " fotografieren oder dieses Licht ausschalten.",
        "photo-cut-off": "Der Code ist {where} abgeschnitten. Bitte den ganzen Code mit etwas Rand"
        " fotografieren.",
        "photo-too-flat": "Das Foto ist zu schräg von der Seite. Bitte gerade vor den Bildschirm"
        " stellen und noch einmal aufnehmen.",
        "photo-foreign": "Das ist ein anderer Code. Bitte den Code auf dem Bildschirm des neuen"
        " Geräts fotografieren.",
        "photo-several": "Das Foto zeigt mehrere Geräte. Bitte von jedem ein eigenes Foto senden.",
        "token-spent": "Dieser Code gilt nicht mehr. Bitte ein neues Foto vom Bildschirm machen.",
        "node-restarted": "Das Gerät wurde neu gestartet und zeigt jetzt einen anderen Code. Bitte"
        " ein neues Foto vom Bildschirm machen.",
        "unreachable": "Das Gerät ist nicht erreichbar. Bitte prüfen, ob es eingeschaltet ist und"
        " das Netzwerkkabel steckt, dann ein neues Foto machen.",
    },
    places={
        "top left": "oben links",
        "top": "oben",
        "top right": "oben rechts",
        "left": "links",
        "middle": "in der Mitte",
        "right": "rechts",
        "bottom left": "unten links",
        "bottom": "unten",
        "bottom right": "unten rechts",
    },
    labels={
        "read": "gelesen",
        "seen": "gesehen, nicht gelesen",
        "photo-unreadable": "nicht lesbar",
        "photo-blurred": "unscharf",
        "photo-too-small": "zu klein",
        "photo-glare": "Spiegelung",
        "photo-cut-off": "abgeschnitten",
        "photo-too-flat": "zu schräg",
        "photo-foreign": "anderer Code",
        "photo-no-code": "kein Code gefunden",
    },
)
