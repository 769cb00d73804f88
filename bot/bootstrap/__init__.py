"""The only places that name concrete adapters, one for each kind of process."""
