"""The scoreboard: each module measures one thing side by side with what people do today, in one run on one machine."""
