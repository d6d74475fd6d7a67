"""The largest value of every setting that is a number: beyond what anybody means, and within what machines can count.

A mistyped or hostile number is refused where it is read, before it fills a disk, a memory or a year.
"""

STEPS = 10_000_000
"""Training steps, and the steps between two of anything."""
DENOISING_STEPS = 1_000
AT_ONCE = 65_536
"""Pictures of a prompt, a group, a batch; groups of a step."""
COUNT = 1_000_000_000
"""Whatever else is counted: prompts, days."""
TOKENS = 8_192
"""Of a prompt."""
RANK = 4_096
GUIDANCE = 100.0
MINUTES = 1_000_000.0
"""Of a training run: two years."""
NOISE_LEVEL = 10.0
LEARNING_RATE = 10.0
SECONDS = 1_000_000.0
"""Of a time limit: eleven days."""
NUMBER = 1e9
"""Weights, scales and limits without a natural end."""
SEED = 2**63 - 1
"""What torch takes."""
PROCESSES = 256
PROCESSES_PER_CORE = 8
"""More than one share a core badly; this many still work, each with about half a gigabyte of its own."""
SHARES = 100_000
