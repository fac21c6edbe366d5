"""What a study shows: tables, findings in words, figures and the page with all of them."""
