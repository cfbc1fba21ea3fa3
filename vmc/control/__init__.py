"""The search for C: CMA-ES, and fitness in the real environment or in the dream."""
