"""The `sockact run` process: facts become events, core decides, actions are performed here."""
