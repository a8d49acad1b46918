"""Result -> go.Figure. A figure computes nothing and sets nothing global."""
