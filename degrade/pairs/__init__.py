"""Where recipes meet stores: building, opening, rendering and replaying pairs."""
