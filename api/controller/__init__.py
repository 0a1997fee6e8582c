"""The controller of ModelJobs: each becomes one Workflow, and its status follows that."""
