"""The invented notes of the demo corpus and the program that wrote them."""
