"""The processes of a service: launched, known, spoken to, signalled. Never decides which
generation serves.
"""
