"""What makes the documentation site: its generated pages, and the commands that its pages print."""
