# SPDX-License-Identifier: MIT
# What is a second or five in a document is longer here: the machine may have much else to do.
s/\bretry=5\b/retry=60/
s/retry=50,interval=0\.1/retry=600,interval=0.1/
s/socat -t 5 /socat -t 60 /
s/--exit-idle-time 2s/--exit-idle-time 5s/
