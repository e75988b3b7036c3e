"""What a generator is asked, what it should say, and where in the text its words stand."""
