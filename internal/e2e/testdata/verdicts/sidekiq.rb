Sidekiq.configure_server { |config| config.redis = { url: "redis://redis/0" } }
