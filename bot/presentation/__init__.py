"""Discord objects in, requests out; replies in, messages out."""
