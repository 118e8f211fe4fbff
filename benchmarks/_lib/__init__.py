"""What the benchmarks share: options and result sheets, data, baselines, trainings.

Scripts find it because Python puts a script's own folder on the path; those of `paper` add
the folder above theirs first.
"""
