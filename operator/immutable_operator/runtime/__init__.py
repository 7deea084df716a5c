"""The process: kopf host, queue, control loop, actuator, health, metrics, logging, life cycle."""
