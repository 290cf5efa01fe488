"""Pages: HTML and Markdown with tables, pictures and scenes."""
