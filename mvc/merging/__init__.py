"""One file out of several versions of it: text, JSON, and weights tensor by tensor."""
