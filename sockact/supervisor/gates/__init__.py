"""Opening and closing the gates of generations, and counting what drains behind them. Never
decides when.
"""
