"""Data contracts: Great Expectations suites, quarantine, Data Docs."""
