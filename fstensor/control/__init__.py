"""Structured control flow: branches and loops as single operations under every transform."""
