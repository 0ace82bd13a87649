"""The mechanisms on top of kernel/: adopt, interest, gate, census."""
