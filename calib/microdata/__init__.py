"""From the answers of single respondents to the human side of the paired table."""
