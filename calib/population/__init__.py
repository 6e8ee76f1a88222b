"""From predictions of groups to populations: estimates, mixed subjects, whom to ask next."""
