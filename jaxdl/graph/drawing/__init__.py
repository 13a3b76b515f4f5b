"""A graph as a picture: SVG, PNG and PDF, an interactive page, and text for Graphviz and Mermaid."""
