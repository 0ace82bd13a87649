"""What the supervisor holds for one launch of the program, from its start to its last process.
Never decides its fate.
"""
