"""The Functions app: registers the blueprints of handlers/, nothing else."""

import azure.functions as func

app = func.FunctionApp()
