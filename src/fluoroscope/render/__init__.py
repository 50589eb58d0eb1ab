"""Views of results: matplotlib figures and the report page. Chosen by kind of result, never by method; no torch."""
