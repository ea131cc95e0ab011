"""OpenCV's detectors over pictures, for `photos.py`: runs in an environment that has OpenCV.

The argument is the folder with OpenCV. Standard input: a JSON list of paths. Standard output: a
JSON line for each picture and detector, {"engine", "texts", "ms"}; CPU milliseconds, reading the
file not counted. It imports nothing of ours.
"""

from __future__ import annotations

import importlib
import json
import sys
import time


def main() -> None:
    """Read every picture with both."""
    sys.path.insert(0, sys.argv[1])
    cv2 = importlib.import_module("cv2")
    cv2.setNumThreads(1)
    detectors = {
        "OpenCV QRCodeDetector": cv2.QRCodeDetector(),
        "OpenCV Aruco": cv2.QRCodeDetectorAruco(),
    }
    for path in json.loads(sys.stdin.read()):
        image = cv2.imread(path, cv2.IMREAD_GRAYSCALE)
        for name, detector in detectors.items():
            begun = time.process_time()
            try:
                _, texts, _, _ = detector.detectAndDecodeMulti(image)
            except (cv2.error, UnicodeDecodeError):  # it hands on what is not UTF-8 as if it were
                texts = ()
            spent = (time.process_time() - begun) * 1000
            said = [text for text in texts or () if text]
            print(json.dumps({"engine": name, "texts": said, "ms": spent}), flush=True)


if __name__ == "__main__":
    main()
