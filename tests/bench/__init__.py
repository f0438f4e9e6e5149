"""How fast, each figure beside a ceiling that is measured in the same run: machines differ, ratios less so."""
