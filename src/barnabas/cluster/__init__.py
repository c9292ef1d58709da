"""Who is who: the image of the cluster, the pure changes to it, and the store that makes them durable."""
