listen 8080
worker_processes 6
