"""What a kernel's table of sockets says is open to the network: a recorded one."""

from __future__ import annotations

from pairing.testing.scan import listening

ANY6, ONE6 = 32 * "0", 24 * "0" + "01000000"
TABLE = f"""\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1335 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4612 1
   1: 3500007F:0035 00000000:0000 0A 00000000:00000000 00:00000000 00000000   990        0 3320 1
   2: 38004D0A:0913 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4700 1
   3: 38004D0A:1335 01004D0A:D431 01 00000000:00000000 00:00000000 00000000     0        0 4701 1
   4: {ANY6}:1336 {ANY6}:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4613 1
   5: {ONE6}:0277 {ANY6}:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4614 1
   6: 00000000:14E9 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4623 2
"""


def test_listening_sockets_that_the_network_reaches() -> None:
    """Not loopback's (127.0.0.53, ::1), nor one that is connected."""
    assert listening(TABLE, "tcp") == {4917, 0x913, 0x1336}
    assert listening(TABLE, "udp") == {5353}
