"""The watch against reward hacking: pictures of the averaged policy, held against those with which the run began.

metrics/signals.py says what is measured, looks.py measures it, watch.py says when it is an alarm. docs/monitor.md
explains each signal; docs/decisions/0025 has the runs on which the lines were drawn.
"""
