"""English."""

from pairing.qr.texts import Texts

TEXTS = Texts(
    new_photo="Please take a new photo of the screen.",
    sentences={
        "photo-format": "I cannot open this file. Please send an ordinary photo, not a video or a"
        " document.",
        "photo-too-large": "This photo is too large. Please send it in normal quality, not as a"
        " document.",
        "photo-worker": "I cannot open this photo. Please send it in normal quality.",
        "photo-no-code": "I see no square code in this photo. Please photograph the whole screen"
        " straight from the front and close by, sharp and without reflections.",
        "photo-unreadable": "I see the code but cannot read it. Please go closer, hold the phone"
        " still and straight, and avoid reflections.",
        "photo-blurred": "This photo is blurred. Please hold the phone still with both hands, tap"
        " on the code so that it gets sharp, then take it again.",
        "photo-too-small": "The code is too small in this photo. Please go closer, until the code"
        " fills half of the picture.",
        "photo-glare": "A light is reflected {where} of the code. Please take the photo from a"
        " little further to the side, or switch that light off.",
        "photo-cut-off": "The code is cut off {where}. Please take a photo with the whole code and"
        " some room around it.",
        "photo-too-flat": "This photo was taken from too far aside. Please stand straight in front"
        " of the screen and take it again.",
        "photo-foreign": "This is another code. Please photograph the code on the new machine's own"
        " screen.",
        "photo-several": "This photo shows several machines. Please send one photo for each.",
        "token-spent": "This code is no longer valid. Please take a new photo of the screen.",
        "node-restarted": "The machine was restarted since and shows another code now. Please take"
        " a new photo of the screen.",
        "unreachable": "I cannot reach the machine. Please check that it is on and its network"
        " cable is plugged in, then take a new photo.",
    },
    places={
        "top left": "at the top left",
        "top": "at the top",
        "top right": "at the top right",
        "left": "at the left",
        "middle": "in the middle",
        "right": "at the right",
        "bottom left": "at the bottom left",
        "bottom": "at the bottom",
        "bottom right": "at the bottom right",
    },
    labels={
        "read": "read",
        "seen": "seen, not read",
        "photo-unreadable": "not readable",
        "photo-blurred": "blurred",
        "photo-too-small": "too small",
        "photo-glare": "reflection",
        "photo-cut-off": "cut off",
        "photo-too-flat": "too flat an angle",
        "photo-foreign": "another code",
        "photo-no-code": "no code found",
    },
)
