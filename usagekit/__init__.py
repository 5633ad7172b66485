"""usagekit: monthly usage reports for a device lab, from its Usage API."""
