from oscar.apps.order import utils


class OrderNumberGenerator(utils.OrderNumberGenerator):
    def order_number(self, basket):
        return f"F/{super().order_number(basket)} ä"
