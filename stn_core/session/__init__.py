"""A session as plain data, without torch: recipes, budgets, cells, records, artifacts."""
