"""The sick programs that the doctor is judged on: healthy hosts, faults that are put into them, and the proof that each does harm."""
