"""The end of the demo of sensors: whose views find each other, what few labels tell, and what that means."""
